/** The messages of RFC 5769 §2.1 to §2.4 and of RFC 8489 Appendix B.1 (with erratum 6268), as published. */

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex')

/** The password of §2.1 to §2.3. */
export const shortTermPassword = 'VOkJxbRl1RmTxUk/WvJxBt'

/** User, realm and (prepared) password of §2.4 and of Appendix B.1. */
export const longTerm = { username: 'マトリックス', realm: 'example.org', password: 'TheMatrIX' } as const

/** RFC 5769 §2.1: a request with short-term credentials. */
export const sampleRequest = hex(`
  0001 0058 2112a442 b7e7a701bc34d686fa87dfae
  8022 0010 5354554e207465737420636c69656e74
  0024 0004 6e0001ff
  8029 0008 932ff9b151263b36
  0006 0009 6576746a3a68367659 202020
  0008 0014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2
  8028 0004 e57a3bcf`)

/** RFC 5769 §2.2: a response that maps 192.0.2.1:32853. */
export const sampleResponseV4 = hex(`
  0101 003c 2112a442 b7e7a701bc34d686fa87dfae
  8022 000b 7465737420766563746f72 20
  0020 0008 0001a147e112a643
  0008 0014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7
  8028 0004 c07d4c96`)

/** RFC 5769 §2.3: a response that maps [2001:db8:1234:5678:11:2233:4455:6677]:32853. */
export const sampleResponseV6 = hex(`
  0101 0048 2112a442 b7e7a701bc34d686fa87dfae
  8022 000b 7465737420766563746f72 20
  0020 0014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9
  0008 0014 a382954e4be67bf11784c97c8292c275bfe3ed41
  8028 0004 c8fb0b4c`)

/** RFC 5769 §2.4: a request with long-term credentials. */
export const sampleLongTermRequest = hex(`
  0001 0060 2112a442 78ad3433c6ad72c029da412e
  0006 0012 e3839ee38388e383aae38383e382afe382b9 0000
  0015 001c 662f2f3439396b39353464364f4c33346f4c39465354767936347341
  0014 000b 6578616d706c652e6f7267 00
  0008 0014 f67024656dd64a3e02b8e0712e85c9a28ca89666`)

/** RFC 8489 Appendix B.1: USERHASH, PASSWORD-ALGORITHM and MESSAGE-INTEGRITY-SHA256. */
export const sampleSha256Request = hex(`
  0001 0090 2112a442 78ad3433c6ad72c029da412e
  001e 0020 4a3cf38fef6992bda952c6780417da0f2481941556 9e60b205c46e41407f1704
  0015 0029 6f624d61744a6f73324141414366 2f2f3439396b39353464364f4c33346f4c39465354767936347341 000000
  0014 000b 6578616d706c652e6f7267 00
  001d 0004 00020000
  001c 0020 b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65`)
