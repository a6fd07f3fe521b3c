package evidence

// Unzip is what [Open] unpacks with, with a limit that tests can reach.
var Unzip = unzip
