import { randomBytes } from 'node:crypto'
import type { GatewayId } from './contract.ts'
import { fleetError } from './errors.ts'

/** What begins every id that is made of a longer name. */
const MAX_NAME = 48

/** Whether a text can name a gateway: 1 to 64 letters, digits, dots, dashes and underscores. */
export function isGatewayId(text: string): text is GatewayId {
  return /^[\w.-]{1,64}$/.test(text)
}

/** @throws FLEET_BAD_ID */
export function gatewayId(text: string): GatewayId {
  if (isGatewayId(text)) return text
  throw fleetError('FLEET_BAD_ID', 'the id of a gateway is 1 to 64 letters, digits, ".", "-" and "_"')
}

/**
 * An id for one run of a gateway: the name by which operators know it, such as that of its host, and what makes it differ
 * from its earlier runs, so that what those held can be told from what this one holds.
 */
export function newGatewayId(name: string): GatewayId {
  const start = name.replaceAll(/[^\w.-]/g, '-').slice(0, MAX_NAME)
  return gatewayId(`${start === '' ? 'gateway' : start}-${randomBytes(4).toString('hex')}`)
}
