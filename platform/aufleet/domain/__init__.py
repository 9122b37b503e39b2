"""Pure values of the field: no files, no networks, no frameworks beyond numpy.

action_units  the units of the Facial Action Coding System that the platform detects
landmarks     the 49 and 68 facial points: parts, mirroring, inter-ocular distance
folds         subject-exclusive three-fold splits
disfa         frames of DISFA whose landmarks failed
palsy         House-Brackmann grades and the four grades of the networks
"""
