"""One detector for each kind of waste: how the same calls are made without it.

A detector takes the states of all facts and changes those that it is about; the plan prices them before and after, so
that each dollar of a call is saved at most once, whatever order the detectors come in.
"""
