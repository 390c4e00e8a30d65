import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Certificate } from '../net/index.ts'

const PREFIX = '/.well-known/acme-challenge/'

/** The answers to the authority's open questions. */
export class ChallengeAnswers {
  readonly #files = new Map<string, string>()
  /** By name: what a TLS listener shows to an authority (RFC 8737). */
  readonly certificates: Map<string, Certificate> = new Map()

  /** Answers http-01 (RFC 8555 §8.3); the function that it gives ends that. */
  addFile(token: string, keyAuthorization: string): () => void {
    this.#files.set(PREFIX + token, keyAuthorization)
    return () => this.#files.delete(PREFIX + token)
  }

  /** Answers tls-alpn-01 (RFC 8737); the function that it gives ends that. */
  addCertificate(domain: string, certificate: Certificate): () => void {
    this.certificates.set(domain, certificate)
    return () => this.certificates.delete(domain)
  }

  /** Whether a request asks for an answer that is there; others may be another program's. */
  matches(pathname: string, method: string): boolean {
    return this.#files.has(pathname) && (method === 'GET' || method === 'HEAD')
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const answer = this.#files.get((request.url ?? '').replace(/\?.*/, ''))
    const body = Buffer.from(answer ?? '')
    response.writeHead(answer === undefined ? 404 : 200, {
      'Content-Type': 'application/octet-stream',
      'Content-Length': body.length,
      'Cache-Control': 'no-store',
    })
    response.end(request.method === 'HEAD' ? undefined : body)
  }
}
