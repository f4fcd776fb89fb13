"""What learns: the loop over epochs, parts on cached outputs of the frozen ones, the same with other seeds."""
