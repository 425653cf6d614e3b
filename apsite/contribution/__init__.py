"""What contributors and reviewers need: questions, submissions, history, comparison."""
