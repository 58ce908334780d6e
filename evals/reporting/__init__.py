"""What a run says to people: a page, a summary for a pull request, a comparison of two, a table of many."""
