"""Data sets: from a frame with labels to shuffled batches, and from a photo to an aligned face.

    records     one row: an aligned frame and everything that is known of it
    alignment   49 landmarks -> aligned 200x200 frame, and back; crop; network input
    decoding    bytes of a picture -> pixels, refused by their header where too large
    crop_240    LP-Net's masked crop, and where points lie in it
    faces       MediaPipe: faces and landmarks of a photo
    partition   one subject's frames as Parquet
    manifest    a data set's table of contents
    tally       labels of one subject, counted
    unusable    the table of frames that could not be used
    publish     partitions first, manifest last and only once
    importers   raw releases, read one subject at a time
    importing   from an importer to a published data set, in parallel, with Ray
    dataset     reading, every byte checked
    verify      is every byte as it was published
    forget      a new version without a subject who withdrew
    orphans     what no manifest names
    inspection  one page that shows a data set
    html_page   the frame and look of pages that open anywhere
    shard       a partition as this node keeps it: arrays in one mapped file
    cache       shards downloaded once for all processes of a node, within a limit
    fetching    many downloads at once; a second request where one is slow; work ahead
    shard_reader  from the store through the cache to shards
    pictures    pixels of a part, decoded once or anew, turned, cut and flipped
    streaming   processes that decode and cut
    part        some subjects' frames and labels, side by side
    sampling    which frame stands in which batch, and how it is cropped
    labels      what a network learns from counting labels
    loader      batches of one part of a fold, for one rank
    rendering   synthetic subjects drawn on all cores
    synthetic   rendered faces with exact labels

Nothing is re-exported: serving takes alignment and faces without torch.
"""
