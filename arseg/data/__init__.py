"""Data sets: manifests, adapters, clips, augmentation; everything before a tensor."""
