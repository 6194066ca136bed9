"""The wing of looks: figures' style, HTML pages, progress bars, numbers and settings in words.

What more than one wing shows in the same way goes here, and nothing that knows an experiment. It
depends on no other wing; all others may use it.
"""
