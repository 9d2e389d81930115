"""What this machine can and cannot do, found by trying it; each finding has the command that fixes it.

What must stay true: nothing heavy is imported in the process that asks; whatever a library does (raise, print, hang,
die) becomes a finding; nothing is left behind on the disk, on the Hub or on Comet.
"""
