import { parsePeerRule } from '../../services/turn/index.ts'
import type { StunnerdCluster } from './config.ts'

/**
 * Whether a text is an endpoint of a cluster: an address or a range, in `STRICT_DNS` clusters also a name, each with ports or
 * without: `10.0.0.0/8:<1000-2000>`.
 */
export function isClusterEndpoint(text: string, type: StunnerdCluster['type']): boolean {
  try {
    const { target } = parsePeerRule(text, '')
    return type === 'STRICT_DNS' || typeof target !== 'string'
  } catch {
    return false
  }
}
