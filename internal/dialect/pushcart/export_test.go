package pushcart

// Splice is what becomes of a posted body: what the log holds, or why not.
func Splice(body []byte, id, name string) ([]byte, error) {
	o, err := readObject(body, "_id", "app")
	if err != nil {
		return nil, err
	}
	return o.with(appendApp(nil, id, name)), nil
}

// AppendMessage is how messages are answered.
var AppendMessage = appendMessage
