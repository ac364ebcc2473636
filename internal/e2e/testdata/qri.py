# A backend of QRI as its Python library is one: it keeps a TCP connection open
# and writes one BER message after the other. Encoding is pyasn1's.
#
#   qri.py HOST PORT < lines of {"peer", "checksum", "message", "form"}
#
# form is definite, indefinite or pieces (indefinite, strings in pieces of three
# bytes). For each line "sent" is printed once the kernel took the message.
import json
import socket
import sys

from pyasn1.codec.ber import encoder
from pyasn1.type import namedtype, univ


class Message(univ.Sequence):
    componentType = namedtype.NamedTypes(
        namedtype.NamedType('peer', univ.OctetString()),
        namedtype.NamedType('checksum', univ.OctetString()),
        namedtype.NamedType('message', univ.OctetString()),
    )


FORMS = {
    'definite': {},
    'indefinite': {'defMode': False},
    'pieces': {'defMode': False, 'maxChunkSize': 3},
}

connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
for line in sys.stdin:
    wanted = json.loads(line)
    message = Message()
    for field in ('peer', 'checksum', 'message'):
        message[field] = wanted[field].encode('utf-8')
    connection.sendall(encoder.encode(message, **FORMS[wanted['form']]))
    print('sent', flush=True)
connection.close()
