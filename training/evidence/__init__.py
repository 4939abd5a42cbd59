"""What stored gate histories say for and against the certificates.

measurements  what acted on each gate in each interval: the one place that knows the history's columns
runs          a shadow run with the constants and the clock of its ODE
assumptions   whether later measurements stayed within what a certificate assumed
promises      whom a certificate is about, and where its bounding ODE leads
breaks        which assumption broke, when, by how much; or none: a refutation
growth        largest coupling still to come over the bound now
bias          first-order against unbiased D, by layer and age
readings      readings of a coupling against one another; would dead gates come back
calibration   false flags, caught share and lead against the headroom m
statistics    exact and bootstrap intervals
pool          one rule over several runs; its best plain rival
result        everything over several runs, as one JSON value
coupling_result   bias, readings and returns of several runs, as one JSON value
tables        the same as Markdown
"""
