/** The smallest ClientHello that names a host, the same each time. */
export function clientHelloFor(host: string): Buffer {
  const serverName = block(2, Buffer.concat([Buffer.from([0]), block(2, Buffer.from(host))]))
  const extension = Buffer.concat([Buffer.from([0, 0]), block(2, serverName)])
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    block(1, Buffer.alloc(0)),
    block(2, Buffer.from([0x13, 0x01])),
    block(1, Buffer.from([0])),
    block(2, extension),
  ])
  const handshake = Buffer.concat([Buffer.from([1]), block(3, body)])
  return Buffer.concat([Buffer.from([22, 3, 1]), block(2, handshake)])
}

function block(lengthBytes: number, content: Buffer): Buffer {
  const length = Buffer.alloc(lengthBytes)
  length.writeUIntBE(content.length, 0, lengthBytes)
  return Buffer.concat([length, content])
}
