/** Where configurations come from. */
export interface ConfigSource {
  /** Names it in logs and errors; without credentials. */
  readonly name: string
  /**
   * The configuration as it is now.
   *
   * @throws STUNNERD_CONFIG_UNAVAILABLE
   */
  load(): Promise<string>
  /**
   * Hands over the configuration that is there, as soon as there is one, and every other one after it. What fails is logged
   * and tried again. Gives what ends it.
   */
  watch(deliver: (text: string) => void): () => void
}
