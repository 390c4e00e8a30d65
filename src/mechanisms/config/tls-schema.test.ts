import { describe, expect, it } from 'vitest'
import { mediaTlsSchema } from './tls-schema.ts'

const acme = { domains: ['live.example.com'], termsOfServiceAgreed: true }

describe('the section of TLS', () => {
  it('needs nothing', () => {
    expect(mediaTlsSchema.parse(undefined)).toEqual({
      certificates: [],
      minVersion: 'TLSv1.2',
      originInsecure: false,
    })
  })

  it('fills in what an authority needs', () => {
    expect(mediaTlsSchema.parse({ acme }).acme).toMatchObject({
      directoryUrl: 'https://acme-v02.api.letsencrypt.org/directory',
      folder: 'acme',
      challenge: 'http-01',
    })
  })

  it.each([
    ['terms that nobody agreed to', { acme: { domains: ['a.example.com'] } }, 'termsOfServiceAgreed'],
    ['a wildcard', { acme: { ...acme, domains: ['*.example.com'] } }, 'domains'],
    ['an address', { acme: { ...acme, domains: ['192.0.2.1:1'] } }, 'domains'],
    ['no names', { acme: { ...acme, domains: [] } }, 'domains'],
    ['a URL that is none', { acme: { ...acme, directoryUrl: 'ftp://x' } }, 'directoryUrl'],
    ['a key without its certificate', { certificates: [{ keyFile: 'k' }] }, 'certFile'],
    ['an older version', { minVersion: 'TLSv1.1' }, 'minVersion'],
    ['an unknown key', { certificate: 'x' }, 'certificate'],
  ])('refuses %s', (_, section, key) => {
    const { error } = mediaTlsSchema.safeParse(section)
    expect(JSON.stringify(error?.issues)).toContain(key)
  })
})
