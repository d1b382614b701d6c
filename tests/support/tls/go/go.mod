module misrule.test/tlsclient

go 1.19
