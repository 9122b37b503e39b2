"""What the programs of this folder share.

rounds  rounds that are counted, and gone on with after a stop
trials  small real trials
"""
