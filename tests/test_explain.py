"""`weightspace explain`: a program told call by call, its memory drawn, a batch walked through."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from pages import check_page
from rich.console import Console
from typer.testing import CliRunner
from weightspace.bench.cli.app import app
from weightspace.bench.explain import arena, lines, sources, subject, table, timing, values
from weightspace.kernels import errors
from weightspace.kernels.spec import KERNELS
from weightspace.nnlite import Linear, Network, models, optim
from weightspace.nnlite.program import cost, record

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "programs.md"
PLAIN = ("--backend", "reference", "--no-times")


@pytest.fixture
def net():
    return models.mlp((4, 6, 3), "relu", backend="reference", dtype="float64")


def told(net, verb="train", batch=5, **options):
    program = record(net, verb, batch, **options)
    return program, lines.lines(program, lines.Names(program, net.layout))


def run(*arguments):
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


def test_a_line_says_what_is_read_written_and_told(net):
    program, found = told(net, optimizer=optim.SGD(0.5))
    first, last = found[0], found[-1]
    assert first.reads == ("x 5x4", "theta.0.weight 6x4", "theta.0.bias 6")
    assert (first.writes, first.told) == (("0.y 5x6",), "relu")
    assert (last.kernel, last.reads, last.writes) == ("sgd_update", ("grad 51",), ("theta 51",))
    assert last.told == "lr 0.5"
    assert first.cost.flops == 2 * 5 * 4 * 6
    assert first.cost.read == 8 * (5 * 4 + 6 * 4 + 6) and first.cost.written == 8 * 5 * 6
    assert all(line.cost == cost(program, program.calls[line.number]) for line in found)
    total = sum(line.cost.flops for line in found)
    calls, memory, _ = table.summary(program, found, net.num_parameters)
    assert calls.startswith(f"{len(found)} calls, {table.short(total)} flops, ")
    assert memory.startswith(f"arena {table.short(program.arena_bytes)} bytes, for buffers of ")
    assert memory.endswith("; 51 parameters")


def test_an_array_that_is_changed_in_place_is_read(net):
    (scale,) = (line for line in told(net, "gradient")[1] if line.kernel == "scale")
    assert scale.reads == scale.writes == ("loss.cotangent 5x3",)


def test_phases_are_the_ways_forward_and_back_and_the_update(net):
    program, found = told(net, optimizer=optim.Adam())
    kernels = [line.kernel for line in found]
    assert lines.phases(program) == [
        ("forward", 0, kernels.index("dense_backward") - 1),
        ("backward", kernels.index("dense_backward"), kernels.index("mean_loss")),
        ("update", kernels.index("adam_update"), len(kernels) - 1),
    ]
    for verb in ("forward", "jvp"):
        program, found = told(net, verb)
        assert lines.phases(program) == [("forward", 0, len(found) - 1)]


def test_the_table_fits_a_narrow_terminal():
    """Every number is whole at 80 columns, for the calls with the longest names, too."""
    net = models.resnet20(backend="reference")
    program, found = told(net, "jvp", 64)
    times = timing.Times((0.012345,) * len(found), 1.0)
    console = Console(width=80, file=StringIO(), record=True)
    console.print(table.table(program, found, times, [1.5] * len(found)))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    rows = [row.split() for row in text.splitlines() if row.rstrip().endswith("%")]
    assert [row[-4:] for row in rows] == [
        [*table.numbers(line, times, [1.5] * len(found))] for line in found
    ]


def test_the_page_of_docs_is_true(capsys):
    """Its Python runs, and prints what it says."""
    check_page(PAGE.name, capsys, 10)
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text()):
        assert (PAGE.parent / target).exists(), target


def test_a_notebook_shows_the_table(net):
    program, found = told(net, "gradient")
    text = program._repr_html_()
    assert text.count("<tr>") == len(found) + 1 and "0.y[5x6]" in text
    assert f"{found[0].cost.flops:,.0f}" in text and str(program).count("\n") == len(found) - 1


@pytest.mark.parametrize(("number", "said"), [
    (0, "0"), (999, "999"), (999.6, "1k"), (12_345, "12.3k"), (5e6, "5M"), (7.2e13, "72T"),
])  # fmt: skip
def test_numbers_are_short(number, said):
    assert table.short(number) == said


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_has_its_three_sources(kernel):
    found = sources.sources(kernel)
    assert list(dict.fromkeys(each.part for each in found)) == list(sources.PARTS)
    for each in found:
        line = (ROOT / each.file).read_text().splitlines()[each.line - 1]
        assert f"{each.name}(" in line and not line.lstrip().startswith(("#", "//"))
        assert each.file.endswith(".cu" if each.part == "cuda" else ".py")
        assert each.part == "cuda" or each.name == kernel


def test_sources_in_cuda_are_what_is_launched():
    named = [each.name for each in sources.sources("norm_backward") if each.part == "cuda"]
    assert named == ["norm_product_sums", "norm_combine", "norm_push"]


def test_numpys_functions_have_none():
    assert sources.sources("numpy.multiply") == []


def test_the_picture_has_a_rectangle_a_buffer():
    program, _ = told(models.lenet5(backend="reference"), "gradient", 3)
    drawn = re.findall(
        r'<title>(.+?), .+?</title><rect x="(.+?)" y="(.+?)" width="(.+?)" height="(.+?)"',
        arena.svg(program),
    )
    assert len(drawn) == len(program.offsets) > 10
    per_call = (arena.WIDTH - arena.LEFT) / len(program.calls)
    per_byte = arena.HEIGHT / program.arena_bytes
    for (name, *box), (number, offset) in zip(drawn, program.offsets.items(), strict=True):
        place = program.places[number]
        x, y, width, height = map(float, box)
        assert name == place.name
        assert x == pytest.approx(arena.LEFT + place.first * per_call, abs=0.01)
        assert width == pytest.approx((place.last - place.first + 1) * per_call, abs=0.01)
        assert height == pytest.approx(place.nbytes * per_byte, abs=0.01)
        bottom = arena.TOP + arena.HEIGHT - offset * per_byte
        assert y + height == pytest.approx(bottom, abs=0.02)


def test_a_batch_is_walked_through(net, rng):
    program, found = told(net, "gradient")
    x, y = rng.normal(size=(5, 4)), rng.integers(0, 3, 5)
    given, drawn = values.drawn(program, net, {"x": x, "y": y})
    before = net.theta.copy()
    walked = {(line.number, name): numbers
              for line, name, numbers in values.walk(program, net, given, found)}  # fmt: skip
    hidden = np.maximum(x @ net.theta[:24].reshape(6, 4).T + net.theta[24:30], 0)
    assert walked[0, "0.y 5x6"] == values.said(hidden)
    loss, grad = net.loss_and_grad(x, y)
    assert walked[len(found) - 1, "loss 1"] == values.said(np.array([loss]))
    assert walked[len(found) - 2, "grad.0.weight 6x4"] == values.said(grad[:24])
    assert drawn == [] and np.array_equal(net.theta, before)


def test_adams_second_moment_is_no_direction(net, rng):
    """Both are called v: drawn from a normal distribution, a moment has no square root."""
    program, found = told(net, optimizer=optim.Adam())
    x, y, v = rng.normal(size=(5, 4)), rng.integers(0, 3, 5), rng.normal(size=51)
    given, drawn = values.drawn(program, net, {"x": x, "y": y, "v": v})
    assert drawn == [] and "v" not in given
    grad = net.loss_and_grad(x, y)[1]
    walked = {name: numbers for _, name, numbers in values.walk(program, net, given, found)}
    assert walked["v 51"] == values.said(0.001 * grad**2)
    assert "NaN" not in "".join(walked.values())
    assert values.drawn(told(net, "jvp")[0], net, {"x": x})[1] == ["v"]


def test_what_a_file_does_not_give_is_drawn_and_told(net, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.ones((5, 4)))
    program, _ = told(net, "vjp")
    given, drawn = values.drawn(program, net, values.read(tmp_path / "x.npz", net))
    assert drawn == ["u"] and given["u"].shape == (5, 3)


def test_numbers_that_are_none_are_counted():
    assert values.said(np.array([1.0, np.nan, np.inf])).endswith("2 are NaN or infinite")
    assert values.said(np.array([np.nan])) == "1 of 1 are NaN or infinite"


def test_numbers_that_are_none_are_printed(tmp_path):
    """Brackets that begin with a letter are rich's markup, were they not escaped."""
    np.savez(tmp_path / "x.npz", x=np.array([[np.nan, 1.0], [2.0, 3.0]]))
    done = run("2-2", *PLAIN, "--verb", "forward", "--values", tmp_path / "x.npz")
    assert done.exit_code == 0 and "[nan nan" in done.output
    assert "2 are NaN or infinite" in " ".join(done.output.split())


def test_each_call_is_timed(net, backend):
    net = models.mlp((4, 6, 3), backend=backend)
    program = record(net, "train", 5, optimizer=optim.Adam())
    given, _ = values.drawn(program, net, {})
    found = timing.measure(program, net, given)
    assert len(found.calls) == len(program.calls)
    assert all(each > 0 for each in (*found.calls, found.whole))


def test_what_is_timed_goes_on_from_call_to_call_as_in_the_verb(net, rng, monkeypatch):
    """Made again and again, a call in place would leave zeros to the next."""
    x, y = rng.normal(size=(5, 4)), rng.integers(0, 3, 5)
    program = record(net, "gradient", 5)
    arrays = {**timing.arrays_of(program, net, {"x": x, "y": y, "active": np.ones(3, bool)})}
    monkeypatch.setattr(timing, "arrays_of", lambda *_: arrays)
    monkeypatch.setattr(timing, "_seconds", lambda again: again(40) or 1.0)
    timing.measure(program, net, {})
    assert np.array_equal(arrays["grad"], net.loss_and_grad(x, y)[1])


def test_a_share_of_the_roof_counts_each_array_once():
    net = models.mlp((64, 64, 3), backend="reference")
    update = told(net, optimizer=optim.Adam())[1][-1]
    machine = {
        "cores": 1, "caches": {"L1": 4 * net.num_parameters * 4}, "cache_cores": {},
        "fma_gflops": {"float32": {"one": 1e9, "all": 1e9}},
        "bandwidth_gbs": {"L1": {"axpy_1": 7.0, "scale_1": 7.0, "axpy_all": 7.0, "scale_all": 7.0}},
    }  # fmt: skip
    seconds = 7 * 4 * net.num_parameters / 7e9  # four arrays read, three written in place
    assert timing.roof_share(machine, update, 2 * seconds, "float32") == pytest.approx(0.5)


def test_the_command_prints_and_writes_a_page(tmp_path):
    page = tmp_path / "p.html"
    done = run("784-32-10", *PLAIN, "--batch", 16, "--out", page, "--links", "https://a.b/c")
    assert done.exit_code == 0 and "softmax_cross_entropy" in done.output
    text = page.read_text()
    assert "<svg" in text and "theta.1.weight 10x32" in text
    assert "weightspace explain 784-32-10 --batch 16 --backend reference --no-times<" in text
    assert re.search(r'href="https://a\.b/c/kernels/cpu/dense\.py#L\d+"', text)


def test_a_fisher_by_its_kind_and_sums_by_their_power(tmp_path):
    page = tmp_path / "p.html"
    fisher = ("6-3", *PLAIN, "--verb", "fisher", "--out", page)
    assert "softmax_fisher_factor" in run(*fisher).output
    assert "softmax_cross_entropy" in run(*fisher, "--kind", "empirical").output
    assert "explain 6-3 --verb fisher --kind empirical --backend" in page.read_text()
    sums = ("6-3", *PLAIN, "--verb", "accumulate", "--out", page)
    assert "dense_accumulate power 2" in run(*sums).output
    assert "dense_accumulate power 1" in run(*sums, "--power", 1).output
    assert "explain 6-3 --verb accumulate --power 1 --backend" in page.read_text()


def test_links_of_a_page_lead_from_it_to_the_sources(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("8-6-3", *PLAIN, "--html").exit_code == 0
    page = tmp_path / "runs" / "explain" / "8-6-3.html"
    links = re.findall(r'href="([^"#]+)#L(\d+)"', page.read_text())
    assert len(links) > 15
    for file, line in links:
        path = page.parent / unquote(file)
        assert path.is_file() and int(line) <= len(path.read_text().splitlines())


def test_a_superposed_preset_shows_its_contexts():
    for method, kernel in (
        ((), "superposed_forward"), (("-m", "superposition"), "superposed_forward"),
        (("-m", "superposition kind=complex"), "complex_expand"),
    ):  # fmt: skip
        done = run("psp-permuted-mnist", *PLAIN, *method)
        assert done.exit_code == 0 and kernel in done.output, method
    assert "superposed" not in run("psp-permuted-mnist", *PLAIN, "-m", "naive").output


def test_the_legend_has_a_colour_a_layer():
    program, _ = told(models.lenet5(backend="reference"), "gradient", 3)
    said = arena.legend(program, ["Conv2d", "MaxPool2d"])
    assert "0 Conv2d" in said and "of no layer alone" in said
    colours = re.findall(r"background:([^\"]+)", said)
    assert len(set(colours)) == len(colours)
    assert all(colour in arena.svg(program) for colour in colours)


def test_the_picture_says_where_the_way_back_begins(net):
    program, _ = told(net, optimizer=optim.Adam())
    assert arena.svg(program).count('class="phase"') == 2
    assert 'class="phase"' not in arena.svg(told(net, "forward")[0])


def test_a_saved_network_can_be_asked(net, tmp_path):
    net.save(tmp_path / "net.safetensors")
    found = subject.find(str(tmp_path / "net.safetensors"), "reference", None, None)
    assert np.array_equal(found.net.theta, net.theta)


def test_a_fisher_is_of_a_classifier():
    net = Network([Linear(3)], (4,), "reference", loss="squared_error")
    with pytest.raises(errors.SettingError, match="squared_error"):
        record(net, "fisher", 5, kind="empirical")


@pytest.mark.parametrize(("arguments", "said"), [
    (("lenet6",), "lenet5"),
    (("4-3", "--verb", "trane"), "train"),
    (("4-3", "--values", "none.npz"), "none.npz"),
    (("4-3", "--backend", "cuda-host"), "on the host"),
    (("4-3", "-m", "ewc"), "is none"),
    (("permuted-mnist", "-m", "ewk"), "Did you mean 'ewc'"),
    (("permuted-mnist", "--dtype", "float64"), "has its own"),
    (("4-3", "--mode", "eval"), "not for verb 'train'"),
    (("4-3", "--verb", "jvp", "--mode", "evil"), "eval"),
    (("4-3", "--verb", "jvp", "--optimizer", "sgd"), "it is for train"),
    (("4-3", "--directions", "2"), "it is for accumulate"),
    (("4-3", "--verb", "fisher", "--power", "2"), "--power is not for verb 'fisher'"),
    (("4-3", "--verb", "mas", "--kind", "true"), "it is for fisher"),
    (("4-3", "--verb", "fisher", "--kind", "empiric"), "Did you mean 'empirical'"),
    (("4-3", "--verb", "accumulate", "--power", "3"), "1 and 2 are defined"),
    (("784",), "Known"),
])  # fmt: skip
def test_what_cannot_be_explained_is_said(arguments, said):
    done = run(*arguments, *(() if "--backend" in arguments else PLAIN))
    assert isinstance(done.exception, errors.WeightspaceError) and said in str(done.exception)


def test_arrays_that_do_not_fit_are_named(net, tmp_path):
    program, _ = told(net, "gradient")
    x, y = np.ones((5, 4)), np.zeros(5, np.int64)
    with pytest.raises(errors.ShapeError, match="x has shape"):
        values.drawn(program, net, {"x": x[:, :3], "y": y})
    with pytest.raises(errors.DtypeError, match="y is float64"):
        values.drawn(program, net, {"x": x, "y": y.astype(float)})
    with pytest.raises(errors.LabelError):
        values.drawn(program, net, {"x": x, "y": y + 7})
    for wrong, kind, said in (
        ({"y": y}, errors.DataError, "no array 'x'"),
        ({"x": np.float64(3)}, errors.ShapeError, r"takes \(N, 4\)"),
        ({"x": np.ones((0, 4))}, errors.ShapeError, "N > 0"),
        ({"x": np.ones((5, 3))}, errors.ShapeError, "x in"),
        ({"x": np.array(["a"])}, errors.DtypeError, "real numbers"),
        ({"x": np.array([{}])}, errors.DataError, "plain arrays"),
    ):
        np.savez(tmp_path / "wrong.npz", **wrong)  # type: ignore[arg-type]
        with pytest.raises(kind, match=said):
            values.read(tmp_path / "wrong.npz", net)
    np.save(tmp_path / "one.npy", x)
    for name, content in (("one.npy", None), ("empty.npz", b""), ("text.npz", b"PK no more")):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(errors.DataError, match="plain arrays"):
            values.read(tmp_path / name, net)
