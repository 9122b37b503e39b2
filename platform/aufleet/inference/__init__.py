"""Generated from protos/aufleet/inference, never edited by hand."""
