package sse

// For tests of frames byte by byte.
var (
	AppendMessage = appendMessage
	AppendWhole   = appendWhole
)
