"""Blocks that several networks share.

scaling, branches, folding, checks      channel counts, layers per branch, inference, refusals
local_region, high_level, alignment     the region networks' stem, extractor and landmarks
centres, maps, refinement, adaptive     where regions lie and how they are drawn
skip_lstm, fusion, graph                how regions learn of each other and of the whole face
heads, readout, palsy_heads, losses     from regions to answers, and what is minimised
residual, region_lstm, axial            trunks of ResNets, LP-Net's LSTMs, gated axial attention
pooled, selective                       answers from one vector per frame, LP-Net's label weights
"""
