package sample

// Prove makes the proof of some leaves alone.
var Prove = prove
