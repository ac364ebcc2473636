package wire

// For tests of how sockets are spread.
const FewTalkers = fewTalkers
