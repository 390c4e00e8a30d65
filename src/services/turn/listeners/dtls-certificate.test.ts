import { createPrivateKey } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { makeCertificate } from '../../../mechanisms/net/certificate.testkit.ts'
import { makeCertificateOf } from './dtls-certificate.testkit.ts'
import { dtlsCertificate } from './dtls-certificate.ts'

describe('the certificate of DTLS', () => {
  test('may be of an ECDSA key on P-256', async () => {
    const taken = dtlsCertificate(await makeCertificate())
    expect(taken).toMatchObject({ signatureHash: { hash: 4, signature: 3 }, hasChain: false })
  })

  test('may be of an RSA key', async () => {
    expect(dtlsCertificate(await makeCertificateOf('rsa'))).toMatchObject({
      signatureHash: { hash: 4, signature: 1 },
    })
  })

  test('is taken alone from a chain, and says so', async () => {
    const [own, authority] = [await makeCertificate(), await makeCertificate(['authority'])]
    const taken = dtlsCertificate({ cert: `${own.cert}\n${authority.cert}`, key: own.key })
    expect(taken.hasChain).toBe(true)
    expect(taken.cert.replaceAll(/\s/g, '')).toBe(own.cert.replaceAll(/\s/g, ''))
  })

  test('may not be of another key', async () => {
    const { cert } = await makeCertificate()
    const { key } = await makeCertificate()
    expect(() => dtlsCertificate({ cert, key })).toThrow(
      'certificate: the key is not that of the certificate',
    )
    expect(() => dtlsCertificate({ cert: 'x', key })).toThrow('certificate: the certificate cannot be read')
    expect(() => dtlsCertificate({ cert, key: 'x' })).toThrow('certificate: the key cannot be read')
  })

  test('may not be of a kind of key that werift does not sign with', async () => {
    await expect(makeCertificateOf('p384').then(dtlsCertificate)).rejects.toMatchObject({
      code: 'TURN_UNSUPPORTED',
      message: expect.stringContaining('the key is secp384r1: dtls takes RSA') as string,
    })
  })

  test('may not be longer than a datagram of werift', async () => {
    const names = Array.from({ length: 80 }, (_, index) => `server-number-${index}.example.org`)
    const long = await makeCertificate(names)
    expect(() => dtlsCertificate(long)).toThrow('dtls takes 1234 at most')
  })

  test('a key in the older form of EC keys is taken', async () => {
    const { key, cert } = await makeCertificateOf('p256')
    const sec1 = createPrivateKey(key).export({ type: 'sec1', format: 'pem' }).toString()
    expect(dtlsCertificate({ cert, key: sec1 }).key).toContain('BEGIN PRIVATE KEY')
  })
})
