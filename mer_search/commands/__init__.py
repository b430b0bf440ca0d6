"""The commands of `mer-search`, by what they are about. Each imports its stages when it is called.

data        check and synth; weights, extract, clean
searches    launch, list, status, stop, track, study
clusters    submit
results     compare, export, predict, evaluate, score, export-log
options     options that several commands share, and the console
"""
