"""Long runs of generated inputs; short ones are part of the tests."""
