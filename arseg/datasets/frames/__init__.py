"""Anyone's folders of frames and index labels."""
