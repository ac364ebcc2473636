package index

// Paginate gives the file of some content.
func Paginate(content []byte) []byte { return paginate(content) }
