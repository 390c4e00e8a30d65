import type { NewProxy } from '../../../protocols/frp/index.ts'
import { TunnelError } from '../errors.ts'

/** The types whose users come by domain. */
export const domainTypes: ReadonlySet<string> = new Set(['http', 'https', 'tcpmux'])

/**
 * The domains of a proxy: its custom ones, and its subdomain under the server's host (reference §9).
 * @throws TunnelError TUNNEL_BAD_PROXY in frp's words
 */
export function domainsOf(request: NewProxy, subDomainHost: string): string[] {
  const host = subDomainHost.toLowerCase()
  const domains = request.custom_domains
    .map((domain) => domain.toLowerCase())
    .filter((domain) => domain !== '')
  for (const domain of domains) {
    if (host !== '' && domain.split('.').length > host.split('.').length && domain.endsWith(`.${host}`)) {
      throw badProxy(`custom domain [${domain}] should not belong to subdomain host [${host}]`)
    }
  }
  const { subdomain } = request
  if (subdomain !== '') {
    if (host === '')
      throw badProxy('subdomain is not supported because this feature is not enabled in server')
    if (/[.*]/.test(subdomain)) throw badProxy("'.' and '*' are not supported in subdomain")
    domains.push(`${subdomain.toLowerCase()}.${host}`)
  }
  if (domains.length === 0) throw badProxy('custom domains and subdomain should set at least one of them')
  return [...new Set(domains)]
}

/** Where users reach the domains, as the client is told: without the port where it is the usual one. */
export function remoteAddrOf(domains: readonly string[], port: number): string {
  return domains.map((domain) => (port === 80 || port === 443 ? domain : `${domain}:${port}`)).join(',')
}

function badProxy(message: string): TunnelError {
  return new TunnelError('TUNNEL_BAD_PROXY', message, { side: 'client' })
}
