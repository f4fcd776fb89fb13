"""What the results are worth: scores with their errors, differences that are real, photos that deserve a look."""
