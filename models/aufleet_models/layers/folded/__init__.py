"""What layers become for inference: the same numbers from less work, in evaluation mode only.

`fold` puts them in the place of the layers that train; `pack` then lays their weights out for the
processor.
"""
