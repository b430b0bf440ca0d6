"""What a search has found, from its stored predictions alone: no data set, no torch, no Ray.

compare   the best trial, what it is worth, and whether one search is better than another
table     the same in a terminal
page      the same as one HTML file, with plots
status    where a running search stands
log       predictions in the MEGC format
"""
