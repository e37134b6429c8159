"""Label texts by a published classifier, from Python and for the command line."""
