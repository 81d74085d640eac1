"""From the motion vectors of a clip to the motion that the network uses: arrays in, arrays out."""
