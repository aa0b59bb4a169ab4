"""What is stored, judged, read or taken out again: replay, reprocess, recall, erase, made again."""
