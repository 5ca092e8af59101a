"""The rules of the network: what is said, how it is signed, who decides what.

Nothing here does I/O, reads a clock or draws entropy: time and randomness are arguments.
"""
