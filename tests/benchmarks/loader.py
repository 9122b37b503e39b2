"""Frames per second of the loader against its peers: python tests/benchmarks/loader.py.

Against (a) torch's `DataLoader` over a local folder of the same JPEGs and (b) WebDataset shards
in the same S3 server, with the same decoding, crops, flips, batches and processes. It fails where
the loader is slower than its targets, where 20 epochs download a shard twice, or where the memory
of its processes grows. Rates are of whole epochs, from the call to the last batch, in turns; the
best of each counts. Cold opens a loader on an empty cache and reads its first epoch.
"""

if __name__ == "__main__":
    # Imported here: the processes that decode import this file, as they would a trial's.
    from reference.loader_race import main

    raise SystemExit(main(__doc__ or ""))
