"""Certificates: the local authority and everything that it signs.  Knows neither the proxy nor the rules.

==================  ==================================================================================
``authority.py``    the root and the issuing certificate under it; made, loaded, rotated; revocations
``issuer.py``       certificates that sign others
``issuers.py``      which issuer signs a leaf of a flavour, and what is sent behind the leaf
``flavour.py``      the defects that a leaf can be given
``mint.py``         makes leaves
``sha1.py``         signs them as nobody should
``revocation.py``   the CRL and OCSP responses
``responder.py``    answers those who ask over HTTP for the CRL or by OCSP
``cache.py``        leaves at hand, minted off the event loop
``contexts.py``     TLS contexts of servers and clients: versions, ciphers, trust
``files.py``        certificates and keys that the user supplies
``inspection.py``   looks at a server as a client: what it shows, what is wrong with it
``words.py``        what is wrong, in plain words
``trust.py``        bundles that make clients trust the authority
``names.py``        the names that certificates are for
``storage.py``      files that hold keys
``errors.py``       the one exception
==================  ==================================================================================
"""
