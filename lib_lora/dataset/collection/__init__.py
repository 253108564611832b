"""An editable set of pictures and captions on disk; every change is planned, journalled and undoable."""
