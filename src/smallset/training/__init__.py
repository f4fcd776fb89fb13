"""What learns: the loop over epochs, parts on cached outputs of frozen ones, how deep, the same with other seeds."""
