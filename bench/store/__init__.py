"""The wing of files: OUT folders, their locks, and readers that state what a file must hold.

A new kind of folder is a `folders.Kind` beside the code that writes it; a new kind of file is a
TypedDict beside its reader, given to `schema`. It depends on show for words alone; all
wings that write files depend on it.
"""
