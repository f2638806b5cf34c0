"""What the rows of the speed table share: peers, data, child processes, summary."""
