"""The wing of the command line: a file a group of commands, and no experiment's name in any.

A new command goes into the file of its group, or into one of its own that `app` adds. Commands read
options, say what is wrong with them, and leave the work to the other wings, which they import when
they run; nothing depends on this wing.
"""
