"""What a program is made of, for people: `weightspace explain`.

`subject` finds the network that is named, `lines` says each call in columns, `timing` how long it
takes, `values` what it wrote, `sources` where its code is; `table` and `page` show it, `arena`
draws the memory. Another way of showing goes beside these; what a call is belongs to
`nnlite.program`.
"""
