/** Prefix arithmetic for storage drivers; extend it to write one of your own. */
export abstract class BaseDriver {
  /** Cleaned: without the colons at its end. */
  protected prefix: string

  protected config: { prefix?: string | undefined }

  constructor(config: { prefix?: string | undefined }) {
    this.config = config
    this.prefix = cleanPrefix(config.prefix)
  }

  /** Prefix of a child driver. */
  protected createNamespacePrefix(namespace: string): string {
    return this.prefix ? `${this.prefix}:${namespace}` : namespace
  }

  /** The key as the engine stores it. */
  protected getItemKey(key: string): string {
    return this.prefix ? `${this.prefix}:${key}` : key
  }
}

function cleanPrefix(prefix: string | undefined): string {
  return prefix ? prefix.replace(/:+$/, '') : ''
}
