import type { AccessRequest } from './contract.ts'

/** Longer texts are no keys and no tokens of ours. */
const MAX_LENGTH = 8192
/** Values of one parameter that are looked at; a client repeats it when both its URLs carry one. */
const MAX_VALUES = 4

/**
 * What may be the key or the token of a request: the values of the query parameter, then the bearer. Empty ones do not
 * count.
 */
export function credentialsOf(
  { query, bearer }: Pick<AccessRequest, 'query' | 'bearer'>,
  parameter: string,
): readonly string[] {
  const values = new URLSearchParams(query).getAll(parameter).slice(0, MAX_VALUES)
  if (bearer !== undefined) values.push(bearer)
  return [...new Set(values)].filter((text) => text !== '' && text.length <= MAX_LENGTH)
}
