"""Generated from protos/aufleet/api, never edited by hand."""
