import { createHash } from 'node:crypto'
import { get } from 'node:http'
import { connect } from 'node:tls'
import { SubjectAlternativeNameExtension, X509Certificate } from '@peculiar/x509'

/** Where a fake authority finds the names that are to be proven: DNS leads them all to loopback. */
export interface ValidationPorts {
  readonly http: () => number
  readonly tls: () => number
}

/** Asks for the file of http-01 (RFC 8555 §8.3). @throws when it is not as it must be */
export async function validateHttp(
  domain: string,
  token: string,
  keyAuthorization: string,
  port: number,
): Promise<void> {
  const path = `/.well-known/acme-challenge/${token}`
  const text = await new Promise<string>((resolve, reject) => {
    const asked = get(
      { host: '127.0.0.1', port, path, headers: { host: domain }, agent: false },
      (response) => {
        if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`))
        let body = ''
        response.on('data', (bytes: Buffer) => {
          body += bytes.toString()
        })
        response.on('end', () => resolve(body))
      },
    )
    asked.on('error', reject)
  })
  if (text.trimEnd() !== keyAuthorization) throw new Error(`"${text}" is not the key authorization`)
}

/** Looks for the certificate of tls-alpn-01 (RFC 8737 §3). @throws when it is not as it must be */
export async function validateTlsAlpn(domain: string, keyAuthorization: string, port: number): Promise<void> {
  const [raw, alpn] = await new Promise<[Buffer, string | false | null]>((resolve, reject) => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      servername: domain,
      ALPNProtocols: ['acme-tls/1'],
      rejectUnauthorized: false,
    })
    socket.once('error', reject)
    socket.once('secureConnect', () => {
      resolve([socket.getPeerCertificate().raw, socket.alpnProtocol])
      socket.end()
    })
  })
  if (alpn !== 'acme-tls/1') throw new Error(`${String(alpn)} was agreed on`)
  const certificate = new X509Certificate(new Uint8Array(raw))
  const names = certificate.getExtension(SubjectAlternativeNameExtension)?.names.toJSON()
  if (JSON.stringify(names) !== JSON.stringify([{ type: 'dns', value: domain }])) {
    throw new Error(`its names are ${JSON.stringify(names)}`)
  }
  const proof = certificate.getExtension('1.3.6.1.5.5.7.1.31')
  const digest = createHash('sha256').update(keyAuthorization).digest()
  const expected = Buffer.concat([Buffer.from([4, 32]), digest])
  if (proof?.critical !== true || !expected.equals(new Uint8Array(proof.value))) throw new Error('no proof')
}
